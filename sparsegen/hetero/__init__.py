"""The heterogeneous scheduler: operators on the devices that suit them, in order, side by side."""
