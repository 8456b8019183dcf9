package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
)

// Algorithm is the number of how SlotOf and Place compute.
const Algorithm = 1

// maxGeneration is limited by the bits that a generation has in an epoch.
const maxGeneration = 1<<16 - 1

// NewParams are those of a node with such settings, for a cluster that is new.
func NewParams(userHash, nameFormat string) Params {
	return Params{Algorithm: Algorithm, Slots: Slots, UserHash: userHash, NameFormat: nameFormat, Generation: 1}
}

// Join agrees with the other nodes on Params: it returns those of the cluster, or
// writes own if there are none yet. It fails if they differ in more than the generation,
// naming what the node says and what the cluster does.
func Join(ctx context.Context, c Coordinator, own Params) (Params, error) {
	for range 3 { // another node may be just as new
		theirs, at, err := readParams(ctx, c)
		switch {
		case err != nil:
			return Params{}, err
		case at != 0:
			return theirs, own.Agree(theirs)
		}
		if ok, err := writeParams(ctx, c, 0, own); err != nil || ok {
			return own, err
		}
	}
	return Params{}, errors.New("the cluster's parameters keep changing")
}

// NewGeneration raises the generation, so that epochs are above all that were before,
// after a coordinator was made anew or restored from a copy. It becomes greater than
// above, which is the generation that storage has seen, if anybody knows.
func NewGeneration(ctx context.Context, c Coordinator, above uint64) (Params, error) {
	for range 3 {
		p, at, err := readParams(ctx, c)
		switch {
		case err != nil:
			return Params{}, err
		case at == 0:
			return Params{}, errors.New("no node has joined this cluster yet: if the coordinator was made anew, start the directors again")
		}
		p.Generation = max(p.Generation, above) + 1
		if p.Generation > maxGeneration {
			return Params{}, fmt.Errorf("generation %d: the greatest is %d", p.Generation, maxGeneration)
		}
		if ok, err := writeParams(ctx, c, at, p); err != nil || ok {
			return p, err
		}
	}
	return Params{}, errors.New("the cluster's parameters keep changing")
}

func readParams(ctx context.Context, c Coordinator) (p Params, at Revision, err error) {
	kvs, _, err := c.Range(ctx, keyParams)
	if err != nil {
		return p, 0, fmt.Errorf("the cluster's parameters: %w", err)
	}
	for _, kv := range kvs {
		if kv.Key != keyParams {
			continue
		}
		if err := read(kv, &p); err != nil {
			return Params{}, 0, fmt.Errorf("the cluster's parameters: %w", err)
		}
		if p.Generation == 0 || p.Generation > maxGeneration {
			return Params{}, 0, fmt.Errorf("the cluster's parameters: generation %d", p.Generation)
		}
		return p, kv.Changed, nil
	}
	return p, 0, nil
}

// writeParams puts p if nobody has done so since the revision.
func writeParams(ctx context.Context, c Coordinator, since Revision, p Params) (ok bool, err error) {
	value, err := json.Marshal(p)
	if err != nil {
		return false, err
	}
	_, ok, err = c.Commit(ctx, Txn{
		If:   []Condition{{Key: keyParams, Changed: since}},
		Then: []Op{{Key: keyParams, Value: value}},
	})
	if err != nil {
		err = fmt.Errorf("the cluster's parameters: %w", err)
	}
	return ok, err
}

// Agree says in what a node differs from its cluster, the generation aside.
func (p Params) Agree(cluster Params) error {
	var all []error
	if cluster.Format > Format {
		all = append(all, fmt.Errorf("the cluster's records have format %d, this program knows up to %d: they are of a newer Roost; upgrade this node", cluster.Format, Format))
	}
	for _, row := range []struct {
		name      string
		own, must any
	}{
		{"algorithm of placement", p.Algorithm, cluster.Algorithm},
		{"number of slots", p.Slots, cluster.Slots},
		{"director_username_hash", p.UserHash, cluster.UserHash},
		{"auth_username_format", p.NameFormat, cluster.NameFormat},
	} {
		if row.own != row.must {
			all = append(all, fmt.Errorf("%s is %#v here and %#v in the cluster, where it stays for ever", row.name, row.own, row.must))
		}
	}
	return errors.Join(all...)
}
