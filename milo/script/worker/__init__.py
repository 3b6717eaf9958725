"""The script's process, both sides (a room): `process` starts, asks and kills it from the engine;
`boot` and `service` run inside it, confined by `confine`."""
