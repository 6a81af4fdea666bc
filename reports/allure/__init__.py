"""The Allure report of all runs: staged in Python, drawn by Allure 3, which runs on Node.js.

`pasts` joins the trials of all sessions with Allure's own results, `findings` says what the newest
trial of each test amounts to, `results` and `history` shape both for Allure, `staging` lays them
out with their attachments, and `report` or `quality_gate` has Allure, by `node`, draw or judge.
"""
