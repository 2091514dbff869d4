"""The served graph as compiled code over the bundle's tables, without a runtime of its own."""
