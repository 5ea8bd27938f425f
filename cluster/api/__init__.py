"""Pure vocabulary: ids, states, specs, objects, endpoints, changes, errors, codec, contracts."""
