"""Servers in tests run without what only tests have; python-socketio does so, too, and starts sooner."""

raise ImportError("there is no requests for servers")
