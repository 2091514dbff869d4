"""What users have watched since the model was trained, recorded and counted as they go on."""
