package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// finishQuota derives Quota from plugin { quota, quota_rule … }. That a limit is
// kept must not hang on the order in which $mail_plugins is extended, so quota
// need not be a word of it. Rules are laid
// over each other in their order; those of a mailbox begin with what holds for all.
func (s *Settings) finishQuota() error {
	s.Quota = nil
	root := s.Plugin["quota"]
	if root == "" {
		return nil
	}
	q := &Quota{Name: "User quota", Exceeded: s.Plugin["quota_exceeded_message"]}
	parts := strings.Split(root, ":")
	if len(parts) > 1 && parts[1] != "" {
		q.Name = parts[1]
	}
	for _, arg := range parts[min(2, len(parts)):] {
		q.NoEnforcing = q.NoEnforcing || arg == "noenforcing"
		q.Hidden = q.Hidden || arg == "hidden"
	}
	if err := s.quotaRules(q); err != nil {
		return err
	}
	grace := s.Plugin["quota_grace"]
	if grace == "" {
		grace = "10%"
	}
	var err error
	if q.Grace, err = quotaAmount(grace, q.Storage, 1); err != nil {
		return fmt.Errorf("quota_grace: %w", err)
	}
	if size := s.Plugin["quota_max_mail_size"]; size != "" {
		if q.MaxMailSize, err = parseSize(size); err != nil {
			return fmt.Errorf("quota_max_mail_size: %w", err)
		}
	}
	s.Quota = q
	return nil
}

// quotaRules reads the rules: first those for all mailboxes, which the others
// may be relative to.
func (s *Settings) quotaRules(q *Quota) error {
	for _, all := range []bool{true, false} {
		for n := 1; ; n++ {
			name := seriesName("quota_rule", n)
			text, ok := s.Plugin[name]
			if !ok {
				break
			}
			box, limits, _ := strings.Cut(text, ":")
			if isAll := box == "*" || box == "?"; isAll != all {
				continue
			}
			if err := q.rule(box, limits, all); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	return nil
}

// rule reads one rule's limits.
func (q *Quota) rule(box, limits string, all bool) error {
	r := QuotaRule{Mailbox: box, Storage: q.Storage, Messages: q.Messages}
	if box == "" {
		return fmt.Errorf("the mailbox is missing")
	}
	for limit := range strings.SplitSeq(limits, ":") {
		key, value, _ := strings.Cut(limit, "=")
		var err error
		switch key {
		case "storage":
			r.Storage, err = quotaAmount(value, q.Storage, 1024)
		case "bytes":
			r.Storage, err = quotaAmount(value, q.Storage, 1)
		case "messages":
			r.Messages, err = quotaAmount(value, q.Messages, 1)
		case "ignore":
			r.Ignore = true
		case "noenforcing":
			q.NoEnforcing = true
		case "":
		default:
			err = fmt.Errorf("%q is not known: storage, bytes, messages or ignore", short(key))
		}
		if err != nil {
			return err
		}
	}
	if all {
		q.Storage, q.Messages = r.Storage, r.Messages
		return nil
	}
	q.Rules = append(q.Rules, r)
	return nil
}

// quotaAmount reads a limit: a number, with a unit of size perhaps and otherwise
// in units of unit; a part of base with "%"; relative to base with a sign.
// What would not fit in 63 bits is the greatest there is.
func quotaAmount(text string, base, unit uint64) (uint64, error) {
	sign := byte(0)
	if text != "" && (text[0] == '+' || text[0] == '-') {
		sign, text = text[0], text[1:]
	}
	var n uint64
	if percent, ok := strings.CutSuffix(text, "%"); ok {
		p, err := strconv.ParseUint(strings.TrimSpace(strings.TrimSuffix(percent, "%")), 10, 16)
		if err != nil {
			return 0, fmt.Errorf("%q is no part like 10%%%%", short(text))
		}
		n = scaled(base/100, p) + base%100*p/100
	} else {
		var err error
		if n, err = parseSize(text); err != nil {
			return 0, err
		}
		if strings.TrimLeft(text, "0123456789 ") == "" {
			n = scaled(n, unit)
		}
	}
	n = min(n, math.MaxInt64)
	switch {
	case sign == '+' && base > 0: // no limit stays none
		return min(base+n, math.MaxInt64), nil
	case sign == '+':
		return 0, nil
	case sign == '-' && base > 0:
		return max(base, n+1) - n, nil
	case sign == '-':
		return 0, nil
	}
	return n, nil
}

// scaled is n times by, at most what fits in 63 bits.
func scaled(n, by uint64) uint64 {
	if by > 0 && n > math.MaxInt64/by {
		return math.MaxInt64
	}
	return n * by
}
