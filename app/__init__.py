"""Caducée: transfers files from one institution to another, once, and then deletes them provably.

The life of a file, and the code of each step:

    upload     app/web/send_routes.py, transfer_routes.py   a body streams in
    encrypt    app/crypto/chunked/                          in memory, piece by piece
    store      app/actions/deposit_file.py                  row, blob, row; the keys in app/storage/key_vault.py
    share      app/actions/issue_share.py                   a link and a password for one recipient
    claim      app/actions/claim_share.py                   once; one UPDATE and the key vault decide who wins
    decrypt    app/actions/fetch_file.py                    while it streams out, as long as the claim stands
    delete     app/actions/sweep.py                         by the sweeper, each step observed: app/lifecycle/
    audit      app/db/audit_rows.py                         every step above is an entry, in the same transaction

A sealed file is encrypted by the client (app/client/) and stored by app/actions/deposit_sealed_file.py; its share is
prepared, then opened by app/actions/open_share.py.

Calls only go down: web, scheduler, terminal -> reports -> actions -> lifecycle -> runtime -> db,
storage -> crypto -> domain.
"""
