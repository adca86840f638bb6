"""The doors. Each reads a request, asks the engine, and writes what comes back; none knows another."""
