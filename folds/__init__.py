"""Which image is in which fold, and is that honest?

Tables in, tables out: no image is opened here. The inventory is a DataFrame with one row per image
(`image_id`, and as needed `stack`, `z`, `height`, `width`, `content_hash`, `area_<class>`, group and
stratum columns); thumbnails are `(N, 64, 64) uint8`, row i belonging to row i of the inventory.

`splitters` makes the fold table, `foldfile` freezes it, `balance` describes it, `audit` looks for leaks in
it.
"""
