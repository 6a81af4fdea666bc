"""The dashboard: which Airflow versions are safe to run with several schedulers, and why.

One folder of static pages that open from a disk. `assembly` has the runs judged, by the gate for
each version (`versions`) and by run (`runs`), the worst drawn (`pictures`, `race`), and the pages
written (`pages`) in a folder that takes the old one's place (`publish`).
"""
