"""How the tables came to be, as Alembic's revisions; never edit one that shipped."""
