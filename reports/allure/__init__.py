"""The Allure report of all runs: staged in Python, drawn by Allure 3, which runs on Node.js.

`pasts` joins the trials of all sessions with Allure's own results, `findings` says what the newest
trial of each test amounts to, `results` shapes both for Allure, `staging` lays them
out with their attachments, and `report` has Allure draw it, by `node`. Its quality gate is asked in
reports/gate/allure.py.
"""
