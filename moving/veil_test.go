package moving_test

import (
	"context"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox"
	"github.com/roost-mail/roost/mailbox/mailboxmem"
	"github.com/roost-mail/roost/moving"
)

// asked are the commands that name a mailbox.
var asked = map[string]func(ctx context.Context, h moving.Home, name string) error{
	"Status": func(ctx context.Context, h moving.Home, name string) error {
		_, err := h.Status(ctx, name, imap.StatusMessages)
		return err
	},
	"Open": func(ctx context.Context, h moving.Home, name string) error {
		m, err := h.Open(ctx, name, false)
		if err == nil {
			_ = m.Close()
		}
		return err
	},
	"Create": func(ctx context.Context, h moving.Home, name string) error { return h.Create(ctx, name+"/below") },
	"Append": func(ctx context.Context, h moving.Home, name string) error {
		_, err := h.Append(ctx, name, func() (*mailbox.NewMessage, error) { return nil, io.EOF })
		return err
	},
	"MyRights": func(ctx context.Context, h moving.Home, name string) error {
		_, err := h.MyRights(ctx, name)
		return err
	},
	"GetACL": func(ctx context.Context, h moving.Home, name string) error {
		_, err := h.GetACL(ctx, name)
		return err
	},
	"SetACL": func(ctx context.Context, h moving.Home, name string) error {
		return h.SetACL(ctx, name, "eve", imap.ACLReplace, imap.AllRights)
	},
	"DeleteACL": func(ctx context.Context, h moving.Home, name string) error { return h.DeleteACL(ctx, name, "eve") },
	"ListRights": func(ctx context.Context, h moving.Home, name string) error {
		_, err := h.ListRights(ctx, name, "eve")
		return err
	},
	"GetMetadata": func(ctx context.Context, h moving.Home, name string) error {
		_, err := h.GetMetadata(ctx, name, &imap.MetadataQuery{})
		return err
	},
	"SetMetadata": func(ctx context.Context, h moving.Home, name string) error {
		return h.SetMetadata(ctx, name, []imap.MetadataEntry{{Name: "/private/comment"}})
	},
	"QuotaOf": func(ctx context.Context, h moving.Home, name string) error {
		_, _, err := h.QuotaOf(ctx, name)
		return err
	},
	"Rename": func(ctx context.Context, h moving.Home, name string) error { return h.Rename(ctx, name, name+"/below") },
	"Delete": func(ctx context.Context, h moving.Home, name string) error { return h.Delete(ctx, name) },
}

// What is refused as if it did not exist takes a multiple of 25 ms, however long it took to
// find out; what is done takes no longer than it takes.
func TestVeil(t *testing.T) {
	for name, ask := range asked {
		for _, row := range []struct {
			acting     string
			work, want time.Duration
		}{
			{"bob", 0, 25 * time.Millisecond},
			{"bob", 3 * time.Millisecond, 25 * time.Millisecond},
			{"bob", 26 * time.Millisecond, 50 * time.Millisecond},
			{owner, 3 * time.Millisecond, 3 * time.Millisecond},
		} {
			t.Run(fmt.Sprintf("%s/%s/%v", name, row.acting, row.work), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					mail := mailboxmem.New(owner)
					if err := guard(mail, owner).Create(t.Context(), "Work"); err != nil {
						t.Fatal(err)
					}
					h := moving.Veil(moving.New(moving.Config{
						Here:      func() bool { return false },
						Elsewhere: func() moving.Home { time.Sleep(row.work); return guard(mail, row.acting) },
					}), 25*time.Millisecond)
					begun := time.Now()
					err := ask(t.Context(), h, "Work")
					if took := time.Since(begun); took != row.want {
						t.Errorf("took %v (%v), want %v", took, err, row.want)
					}
				})
			})
		}
	}
}

// Observing does not tell whether there is anybody who shows nothing, and of who shows something
// it is known at once; and who gives up waits no longer.
func TestVeilOfObserving(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := moving.Veil(guard(mailboxmem.New(owner), "bob"), time.Minute)
		begun := time.Now()
		stop, err := h.Observe(t.Context(), nil, func() {})
		if err != nil || time.Since(begun) != time.Minute {
			t.Fatalf("%v after %v", err, time.Since(begun))
		}
		stop()
		own := moving.Veil(guard(mailboxmem.New(owner), owner), time.Minute)
		if stop, err = own.Observe(t.Context(), nil, func() {}); err != nil || time.Since(begun) != time.Minute {
			t.Fatalf("%v after %v", err, time.Since(begun))
		}
		stop()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begun = time.Now()
		if _, err := h.Status(ctx, "Work", 0); imap.CodeOf(err) != imap.CodeNonExistent || time.Since(begun) != time.Second {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
	})
}
