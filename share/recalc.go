package share

import "context"

// Recalc brings the dict into line with what is in the owner's home, whatever was
// published before, and says if that failed. What should not be there goes too.
func (p *Publisher) Recalc(ctx context.Context, owner string, home Home) error {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Wait)
	defer cancel()
	release, err := p.turns.take(ctx, owner)
	if err != nil {
		return err
	}
	defer release()
	state := home.ShareState()
	want, err := p.wantedBy(ctx, owner, home)
	if err != nil {
		return err
	}
	return p.write(ctx, owner, home, state, want, true)
}
