"""Vocabulary shared by every layer: pure values and protocols, the only part that domain and service import."""
