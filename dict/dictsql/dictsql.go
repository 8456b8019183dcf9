// Package dictsql keeps a dictionary in tables of PostgreSQL, MySQL or MariaDB, or
// SQLite, as Dovecot's SQL dicts do: maps say which keys are rows of which table.
//
// A commit is one serializable transaction; one that is in the way of another is
// made again. Keys are compared byte by byte: where a database takes two keys for
// one, as by their case, a commit fails and says so. Keys that no map has, or that
// are too long for a column, are dict.ErrInvalid.
//
// At PostgreSQL commits are announced by NOTIFY on the channel roost_dict, to
// those who watch. What other programs write is announced if their tables have a
// trigger that does the same.
package dictsql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/roost-mail/roost/dict"
)

// Config says where the tables are and what is in them.
type Config struct {
	Driver  string        // pgsql, mysql or sqlite
	Name    string        // of the dictionary, for errors
	Connect string        // in Dovecot's notation: host=... dbname=... user=..., or a file's path
	Maps    []Map         // the first whose pattern matches a key has it
	Timeout time.Duration // of a call; 0 means 10 s
}

// Open returns a handle on the dictionary that cfg names. The server need not be
// there yet. The Dict is a dict.Versioner, which notices what other programs
// change as well, and at PostgreSQL a dict.Watcher.
func Open(cfg Config) (dict.Dict, error) {
	maps, err := compile(cfg.Maps)
	if err != nil {
		return nil, err
	}
	e, err := openEngine(cfg.Driver, cfg.Connect)
	if err != nil {
		return nil, err
	}
	d := &driver{engine: e, maps: maps}
	opt := dict.Options{Name: cfg.Name + " (" + e.where + ")", Timeout: cfg.Timeout}
	if e.listen != nil {
		return dict.New(watching{d}, opt), nil
	}
	return dict.New(d, opt), nil
}

// Limits of the connections to a server.
const (
	maxConns = 8
	maxIdle  = 2
	idleTime = time.Minute
)

type driver struct {
	engine *engine
	maps   []*table
}

var (
	_ dict.Driver    = (*driver)(nil)
	_ dict.Versioner = (*driver)(nil)
)

// watching is a driver whose server tells of changes.
type watching struct{ *driver }

var _ dict.Watcher = watching{}

// Watch implements dict.Watcher.
func (w watching) Watch(ctx context.Context, changed func([]dict.Change)) error {
	return w.engine.listen(ctx, func() { changed(nil) })
}

// Close implements dict.Driver.
func (d *driver) Close() error { return d.engine.close() }

// find is the map that has a key, and the values of the pattern's variables.
func (d *driver) find(key string) (*table, []string, error) {
	for _, m := range d.maps {
		if values, ok := m.match(key); ok {
			return m, values, nil
		}
	}
	return nil, nil, fmt.Errorf("%w: no map has the key %.200q", dict.ErrInvalid, key)
}

// Get implements dict.Driver.
func (d *driver) Get(ctx context.Context, key string) (string, bool, error) {
	m, values, err := d.find(key)
	if err != nil {
		return "", false, err
	}
	value, ok, _, err := d.get(ctx, d.engine.db, m, key, values, "")
	return value, ok, d.engine.explain(m, err)
}

// querier is a database, or a transaction.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// get reads the row of a key. taken is a key that the database takes for this one.
func (d *driver) get(ctx context.Context, q querier, m *table, key string, values []string, lock string) (value string, ok bool, taken string, err error) {
	where, args, err := m.where(d.engine, values)
	if err != nil {
		return "", false, "", err
	}
	err = d.rows(ctx, q, m, where+lock, args, func(k, v string, null bool) error {
		switch {
		case k != key:
			taken = k
		case !null:
			value, ok = v, true
		}
		return nil
	})
	return value, ok, taken, err
}

// rows calls see with the keys and values of rows.
func (d *driver) rows(ctx context.Context, q querier, m *table, where string, args []any, see func(key, value string, null bool) error) error {
	rows, err := q.QueryContext(ctx, m.selection+where, args...)
	if err != nil {
		return err
	}
	defer rows.Close() //nolint:errcheck // Err says it
	cells := make([]cell, len(m.fields)+1)
	into := make([]any, len(cells))
	for i := range cells {
		into[i] = &cells[i].bytes
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return err
		}
		values := make([]string, len(m.fields))
		for i, f := range m.fields {
			values[i] = f.text(cells[i+1].bytes)
		}
		if err := see(m.key(values), m.value.text(cells[0].bytes), cells[0].bytes == nil); err != nil {
			return err
		}
	}
	return rows.Err()
}

// cell is one value of a row; nil bytes are NULL.
type cell struct{ bytes []byte }

// List implements dict.Driver.
func (d *driver) List(ctx context.Context, prefix string, add func(key, value string) error) error {
	for _, m := range d.maps {
		values, rest, ok := m.begin(prefix)
		if !ok {
			continue
		}
		where, args, err := m.below(d.engine, values, rest)
		if err == nil {
			err = d.rows(ctx, d.engine.db, m, where, args, func(key, value string, null bool) error {
				if owner, _, err := d.find(key); null || err != nil || owner != m {
					return nil
				}
				return add(key, value)
			})
		}
		if err != nil {
			return d.engine.explain(m, err)
		}
	}
	return nil
}

// Commit implements dict.Driver.
func (d *driver) Commit(ctx context.Context, changes []dict.Change, conditions []dict.Condition) error {
	tx, err := d.engine.db.BeginTx(ctx, &sql.TxOptions{Isolation: d.engine.isolation})
	if err != nil {
		return d.engine.explain(nil, err)
	}
	defer tx.Rollback() //nolint:errcheck // it does nothing after Commit
	for _, c := range conditions {
		if err := d.check(ctx, tx, c); err != nil {
			return err
		}
	}
	effective := false
	for _, c := range changes {
		did, err := d.change(ctx, tx, c)
		if err != nil {
			return err
		}
		effective = effective || did
	}
	if effective && d.engine.notify != "" {
		if _, err := tx.ExecContext(ctx, d.engine.notify); err != nil {
			return d.engine.explain(nil, err)
		}
	}
	return d.engine.explain(nil, tx.Commit())
}

func (d *driver) check(ctx context.Context, tx *sql.Tx, c dict.Condition) error {
	m, values, err := d.find(c.Key)
	if err != nil {
		return err
	}
	value, ok, _, err := d.get(ctx, tx, m, c.Key, values, d.engine.forUpdate)
	if err != nil {
		return d.engine.explain(m, err)
	}
	if ok == c.Missing || ok && value != c.Value {
		return fmt.Errorf("%w: key %.200q", dict.ErrConflict, c.Key)
	}
	return nil
}

// change makes one change, and says whether it did anything.
func (d *driver) change(ctx context.Context, tx *sql.Tx, c dict.Change) (bool, error) {
	m, values, err := d.find(c.Key)
	if err != nil {
		return false, err
	}
	value, ok, taken, err := d.get(ctx, tx, m, c.Key, values, d.engine.forUpdate)
	switch {
	case err != nil:
		return false, d.engine.explain(m, err)
	case taken != "":
		return false, fmt.Errorf("table %s takes %.200q for %.200q: its columns must compare byte by byte", m.name, taken, c.Key)
	case ok != c.Unset && (c.Unset || value == c.Value):
		return false, nil
	}
	where, args, err := m.where(d.engine, values)
	if err != nil {
		return false, err
	}
	v, err := m.value.bind(c.Value)
	if err != nil && !c.Unset {
		return false, err
	}
	var query string
	switch {
	case c.Unset:
		query = "DELETE FROM " + m.name + where
	case ok:
		query = "UPDATE " + m.name + " SET " + m.value.column + " = " + d.engine.mark(len(args)+1) + where
		args = d.engine.order(args, v)
	default:
		query, args = m.insertion(d.engine), append([]any{v}, args...)
	}
	_, err = tx.ExecContext(ctx, query, args...)
	return true, d.engine.explain(m, err)
}

// Version implements dict.Versioner.
func (d *driver) Version(ctx context.Context) (string, error) {
	if d.engine.version != nil {
		return d.engine.version(ctx)
	}
	var all []string
	seen := map[string]bool{}
	for _, m := range d.maps {
		query := m.digest(d.engine)
		if seen[query] {
			continue
		}
		seen[query] = true
		var rows, sum string
		if err := d.engine.db.QueryRowContext(ctx, query).Scan(&rows, &sum); err != nil {
			return "", d.engine.explain(m, err)
		}
		all = append(all, rows+":"+sum)
	}
	return strings.Join(all, " "), nil
}

// explain says which table and server an error is about, and what it means.
func (e *engine) explain(m *table, err error) error {
	if err == nil || errors.Is(err, dict.ErrInvalid) {
		return err
	}
	where := "at " + e.where
	if m != nil {
		where = "table " + m.name + " " + where
	}
	kind := e.kind(err)
	if kind == nil {
		return fmt.Errorf("%s: %w", where, err)
	}
	return fmt.Errorf("%w: %s: %w", kind, where, err)
}
