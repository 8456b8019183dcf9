package main

import (
	"math"

	"github.com/roost-mail/roost/config"
	"github.com/roost-mail/roost/mailbox"
)

// quotaPolicy is a quota as the owner's home keeps it, nil without one.
func quotaPolicy(q *config.Quota) *mailbox.QuotaPolicy {
	if q == nil {
		return nil
	}
	p := &mailbox.QuotaPolicy{
		Root: q.Name, Storage: q.Storage, Messages: q.Messages, Grace: q.Grace,
		MaxMessage: int64(min(q.MaxMailSize, math.MaxInt64)), Exceeded: q.Exceeded, Lax: q.NoEnforcing, Hidden: q.Hidden,
	}
	for _, r := range q.Rules {
		p.Rules = append(p.Rules, mailbox.QuotaRule(r))
	}
	return p
}
