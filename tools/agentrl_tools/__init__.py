"""Tools that environments hand to agents; none has been built yet."""
