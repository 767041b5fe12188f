package s3

import (
	"context"
	"fmt"

	"github.com/sigilfs/sigilfs/internal/awsclient"
)

// ReloadCredentials reads the sources of credentials again. An error leaves
// them as they are; requests under way keep theirs.
func (s *Store) ReloadCredentials(ctx context.Context) error {
	if err := awsclient.Reload(ctx, s.client.Options().Credentials); err != nil {
		return fmt.Errorf("s3: %w", err)
	}
	return nil
}
