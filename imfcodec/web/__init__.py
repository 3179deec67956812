"""A player of streams in the browser: the page, what it needs, and a server of this machine for it."""
