package dict_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/roost-mail/roost/dict"
	"github.com/roost-mail/roost/dict/dicttest"
)

// memory is a driver that keeps a Table.
type memory struct{ dict.Dict }

func (m memory) List(ctx context.Context, prefix string, add func(key, value string) error) error {
	if err := add("priv/x", "1"); err != nil {
		return err
	}
	return m.Iterate(ctx, prefix, add)
}

func (m memory) Commit(ctx context.Context, changes []dict.Change, conditions []dict.Condition) error {
	return m.Dict.Commit(ctx, changes, conditions...)
}

func TestDriver(t *testing.T) {
	dicttest.Test(t, func(*testing.T) func() dict.Dict {
		m := dict.NewMemory()
		return func() dict.Dict { return dict.New(memory{keepOpen{m}}, dict.Options{Name: "test"}) }
	})
}

// keepOpen is one memory of several handles.
type keepOpen struct{ dict.Dict }

func (keepOpen) Close() error { return nil }

// stuck answers nothing, or is always busy.
type stuck struct{ busy bool }

func (stuck) Get(ctx context.Context, _ string) (string, bool, error) {
	<-ctx.Done()
	return "", false, ctx.Err()
}

func (s stuck) List(ctx context.Context, _ string, _ func(string, string) error) error {
	_, _, err := s.Get(ctx, "")
	return err
}

func (s stuck) Commit(ctx context.Context, _ []dict.Change, _ []dict.Condition) error {
	if s.busy {
		return dict.ErrBusy
	}
	_, _, err := s.Get(ctx, "")
	return err
}

func (stuck) Close() error { return nil }

func TestEveryWaitEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, driver := range []stuck{{}, {busy: true}} {
			d := dict.New(driver, dict.Options{Name: "the one", Timeout: 3 * time.Second})
			began := time.Now()
			err := d.Commit(t.Context(), []dict.Change{dict.Set("shared/a", "1")})
			if took := time.Since(began); err == nil || took > 4*time.Second ||
				!strings.Contains(err.Error(), "dictionary the one: ") || !strings.Contains(err.Error(), "no answer in 3s") {
				t.Errorf("busy %v: %v after %v", driver.busy, err, took)
			}
			time.AfterFunc(time.Second, func() {
				if err := d.Close(); err != nil {
					t.Error(err)
				}
			})
			err = d.Iterate(t.Context(), dict.Root, func(string, string) error { return nil })
			if !errors.Is(err, dict.ErrClosed) {
				t.Errorf("Iterate that Close ends: %v", err)
			}
		}
	})
}
