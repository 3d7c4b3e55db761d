"""The facts and conditions of the device's own system."""
