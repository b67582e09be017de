"""What puts GeoBento into production: the Bento, its image, and what runs around it."""
