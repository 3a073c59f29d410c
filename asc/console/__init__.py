"""What people type and see: options, tables, progress, warnings."""
