"""TFX components: a spec, a thin executor, and the code that only that component needs."""
