"""Airflow's Helm chart: which one (`chart`), with what values (`values`), installed (`install`)."""
