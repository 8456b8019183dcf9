package remote

import (
	"context"
	"errors"
	"fmt"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/imapclient"
	"github.com/roost-mail/roost/sasl"
)

// maxAudiences is how often a word is given anew, because the owner has another node than
// was thought.
const maxAudiences = 4

var errNoDelegation = errors.New("the server does not take the word of this node (" + sasl.DelegationName + "), and no imapc_password may be used instead")

// delegated logs in by the word of this node. The error is errNoDelegation if that
// is nothing that the peer, or the one behind it, knows.
func (l *link) delegated(ctx context.Context, conn *imapclient.Conn) error {
	audience := ""
	for attempt := 1; ; attempt++ {
		if err := conn.Capability(ctx); err != nil {
			return err
		}
		if !conn.Has("AUTH=" + sasl.DelegationName) {
			return errNoDelegation
		}
		d, err := l.cfg.Delegate(audience)
		if err != nil {
			return imap.Wrap(imap.CodeUnavailable, "Mailbox is temporarily unavailable", err)
		}
		_, err = conn.AuthenticateBy(ctx, sasl.DelegationName, d.Encode())
		status, _ := errors.AsType[*imapclient.Status](err)
		switch {
		case status == nil || status.Kind != imapclient.No:
			return err
		case status.Code == imap.CodeCannot:
			return fmt.Errorf("%w: %w", errNoDelegation, err)
		case status.Code != imap.CodeAudience || attempt == maxAudiences:
			return err
		}
		audience = status.Args
	}
}
