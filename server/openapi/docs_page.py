"""The page at ``/``: Swagger UI over our own document, from files that BentoML ships.

BentoML's own page loads a tracker from outside; this one asks nobody but the service.
"""

SWAGGER_UI_HTML = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>GeoBento</title>
<link rel="stylesheet" href="./static_content/swagger-ui.css">
<style>body { margin: 0 } .topbar { display: none }</style>
</head>
<body>
<div id="swagger-ui"></div>
<script src="./static_content/swagger-ui-bundle.js"></script>
<script>
SwaggerUIBundle({
  url: "./docs.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  defaultModelsExpandDepth: 0,
  presets: [SwaggerUIBundle.presets.apis],
});
</script>
</body>
</html>
"""
