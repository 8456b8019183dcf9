package imapserver

import (
	"context"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
)

// quota is the account's side of quotas.
func (s *session) quota() (mailbox.Quota, error) {
	q, ok := s.account().(mailbox.Quota)
	if !ok {
		return nil, imap.Errorf(imap.CodeCannot, "There are no quotas here")
	}
	return q, nil
}

// getQuotaRoot is GETQUOTAROOT. RFC 9208 section 4.1.2.
func (s *session) getQuotaRoot(ctx context.Context, cmd *command) error {
	name, err := s.parseMailbox(cmd)
	if err != nil {
		return err
	}
	q, err := s.quota()
	if err != nil {
		return err
	}
	quota, ok, err := q.QuotaOf(ctx, name)
	if err != nil {
		return err
	}
	s.enc.RawString("* QUOTAROOT ").Mailbox(name)
	if ok {
		s.enc.SP().AString(quota.Root)
	}
	s.enc.CRLF()
	if ok {
		s.writeQuota(&quota)
	}
	return nil
}

// getQuota is GETQUOTA. RFC 9208 section 4.1.1.
func (s *session) getQuota(ctx context.Context, _ *command) error {
	var root string
	if !s.dec.ExpectSP() || !s.dec.ExpectAString(&root) || !s.dec.ExpectCRLF() {
		return s.dec.Err()
	}
	q, err := s.quota()
	if err != nil {
		return err
	}
	quota, err := q.QuotaRoot(ctx, root)
	if err != nil {
		return err
	}
	s.writeQuota(&quota)
	return nil
}

// setQuota is SETQUOTA. RFC 9208 section 4.1.3. Quotas are the administrator's
// to set, so nobody may.
func (s *session) setQuota(context.Context, *command) error {
	var root, resource string
	var limit uint64
	if !s.dec.ExpectSP() || !s.dec.ExpectAString(&root) || !s.dec.ExpectSP() {
		return s.dec.Err()
	}
	err := s.dec.List(func() error {
		if s.dec.ExpectAtom(&resource) && s.dec.ExpectSP() {
			s.dec.ExpectNumber64(&limit)
		}
		return s.dec.Err()
	})
	if err != nil || !s.dec.ExpectCRLF() {
		return firstError(err, s.dec.Err())
	}
	return imap.NoPermission()
}

// writeQuota writes a QUOTA response. RFC 9208 section 4.2.1.
func (s *session) writeQuota(q *imap.Quota) {
	s.enc.RawString("* QUOTA ").AString(q.Root).RawString(" (")
	if q.Storage.Limit > 0 {
		s.enc.RawString("STORAGE ").Number64(kibibytes(q.Storage.Usage)).SP().Number64(kibibytes(q.Storage.Limit))
	}
	if q.Messages.Limit > 0 {
		if q.Storage.Limit > 0 {
			s.enc.SP()
		}
		s.enc.RawString("MESSAGE ").Number64(q.Messages.Usage).SP().Number64(q.Messages.Limit)
	}
	s.enc.RawString(")").CRLF()
}
