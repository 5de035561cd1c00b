"""Background work by the calendar, one file each."""
