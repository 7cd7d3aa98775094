// Package flow knows which domain a packet belongs to: the flows, how they are found,
// what passes over them and when they end. Time is since any fixed moment, is given
// by the caller and must not go back. Nothing here waits or runs by itself.
package flow

import "errors"

// This file owns what can go wrong with a request.

var (
	// ErrInvalid says that a Spec or Config makes no sense. EINVAL.
	ErrInvalid = errors.New("flow: invalid request")
	// ErrExists says that a flow has these very addresses and ports. EEXIST.
	ErrExists = errors.New("flow: exists")
	// ErrOwnerLimit says that Config.PerOwner is reached. ENOMEM.
	ErrOwnerLimit = errors.New("flow: too many flows of one owner")
	// ErrTableFull says that Config.Max is reached. ENOMEM.
	ErrTableFull = errors.New("flow: table full")
	// ErrGone says that the flow has ended. ENOENT.
	ErrGone = errors.New("flow: has ended")
	// ErrState says that this kind of flow cannot do that. EINVAL.
	ErrState = errors.New("flow: wrong kind of flow")
)
