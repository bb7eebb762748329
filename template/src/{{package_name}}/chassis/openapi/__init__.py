"""OpenAPI: what the routes say of themselves, completed by what every route of the service does."""
