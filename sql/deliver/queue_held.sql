-- Ends a queue's statement: only contacts that the account holds, or holds under a former identity; what a load could
-- change or take away there. $1 target account, $2 pipeline (for the other endings).
    and $2::text is not null
    and (
        exists (
            select from delivery.ledger
            where ledger.contact_id = pending.key and ledger.target = $1::text and ledger.object = 'contact'
        )
        or exists (
            select from canonical.contact_moves as moves
            join delivery.ledger on ledger.contact_id = moves.contact_id
            where moves.moved_to = pending.key and ledger.target = $1::text and ledger.object = 'contact'
        )
    )
