import torch, numpy as np
from layerscope.store.source import CaptureSource
with CaptureSource("/work/main/cache/demo/run.h5") as s:
    first=np.flatnonzero(s.position==0); tid=s.token_id[first]
    X=torch.stack([s.read(int(r),int(r)+1)[0] for r in first]).double()
_,keep=np.unique(tid,return_index=True); X=X[torch.from_numpy(keep)]
print(len(keep),"different first tokens")
for l in (1,3,12,15,20,28,29,30):
    x=X[:,l]; n=x.norm(dim=1); d=torch.cdist(x,x,compute_mode="donot_use_mm_for_euclid_dist")/torch.maximum(n[:,None],n[None]); d.fill_diagonal_(9)
    print(l, "norm",n.median().item(), "nearest rel min %.2g median %.2g"%(d.min(),d.min(1).values.median()))
