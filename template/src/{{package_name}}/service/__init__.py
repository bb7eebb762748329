"""One orchestrator per object: ports come by constructor, envelopes go out."""
