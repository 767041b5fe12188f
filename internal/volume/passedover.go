package volume

import "fmt"

// passedOver are versions that a search for one that is whole went past, from the
// newest on, since they do not open now: they are archived, their key is not here
// or does not work. They may be whole. Who takes an older one is told.
type passedOver struct {
	n   int
	why error // of the newest
}

// note counts a version that is not taken for that reason, unless it is damaged.
func (p *passedOver) note(fault Fault, err error) {
	if fault != Unseen {
		return
	}
	if p.n++; p.n == 1 {
		p.why = err
	}
}

// said is text with what is to be told of them.
func (p *passedOver) said(text string) string {
	switch p.n {
	case 0:
		return text
	case 1:
		return fmt.Sprintf("%s; a newer version was passed over, as it does not open now (%v)", text, p.why)
	}
	return fmt.Sprintf("%s; %d newer versions were passed over, as they do not open now (the newest: %v)", text, p.n, p.why)
}

// none is err, of a search that found nothing, with the same.
func (p *passedOver) none(err error) error {
	if p.n == 0 {
		return err
	}
	return fmt.Errorf("%w, or once what was passed over opens: %d versions do not now (the newest: %w)", err, p.n, p.why)
}
