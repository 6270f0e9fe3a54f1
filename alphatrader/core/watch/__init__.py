"""What the watchdog concludes from what it saw, and when the operator is told of it. Pure: time is an argument."""
