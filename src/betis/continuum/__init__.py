"""The stellar continuum: templates brought to the data's axis, and the engine that fits them."""
