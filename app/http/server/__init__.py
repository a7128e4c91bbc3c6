"""HTTP below the application: connections, their bounds, and how they are drained."""
