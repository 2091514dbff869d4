"""What every training loop needs: a device, ranks, progress, a schedule, and an end at a signal."""
