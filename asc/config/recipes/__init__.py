"""The shipped recipes: one TOML file each, read by `asc.config.recipes.loading`."""
