"""What tuning found: workloads, the journal of trials, and the schedules that come with the package."""
