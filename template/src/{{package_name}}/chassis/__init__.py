"""The microservice chassis: template-owned, the same bytes in every service."""
