"""The shipped recipes: one TOML file each, read by `asc.recipes.loading`."""
