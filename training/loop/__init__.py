"""What every training loop needs: a device, progress, a schedule, and an end at a signal."""
