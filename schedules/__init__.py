"""The schedules that come with the package, a JSON file a CPU family; installed as `sparsegen.schedules`."""
