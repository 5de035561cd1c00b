"""Where key material lives and is used."""
