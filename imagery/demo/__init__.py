"""The demo archive: synthetic landscapes as a static STAC catalog of COGs."""
