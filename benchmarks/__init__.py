"""Figures of the library, each as a ratio to the same work done another way in the same run."""
