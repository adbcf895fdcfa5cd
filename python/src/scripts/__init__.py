"""The documented module names of connector classes."""
