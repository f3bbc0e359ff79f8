import sys,time,logging,json,os,signal,threading
from pathlib import Path
import pytest
from components.trainer.run import run_fn
from components.training_job.settings import in_force
from schemas.training_job import TrainingJobConfig
from tests.components.training_job.operator import Operator

def config(tmp, **more):
    return TrainingJobConfig(kind="tfjob", image="clickrank@sha256:"+"0"*64, volumes=[{"claim":"root","mount_path":"/tmp"}], grace_s=20, **more)

@pytest.mark.parametrize("victim", [1, 0])
@pytest.mark.parametrize("strategy", ["multi_worker", "parameter_server"])
def test_kill(make_fn_args, tmp_path, cluster, caplog, victim, strategy):
    caplog.set_level(logging.INFO)
    if strategy=="parameter_server" and victim==1: victim="worker-1"
    elif strategy=="parameter_server": victim="ps-0"
    else: victim=f"worker-{victim}"
    SGD = {"name": "sgd", "learning_rate": 0.1}
    args = make_fn_args(tmp_path, trainer={"strategy": strategy, "workers": 2, "start_timeout_s":100,"num_epochs": 20 if strategy=="multi_worker" else 6, "save_steps": 10, "keep": 3, "deep_optimizer": SGD, "export": "latest"})
    t=time.time()
    def kill(op):
        while not list((tmp_path/"checkpoints").glob("*/step-*.index")): time.sleep(0.02)
        name=[n for n in op.containers if n.endswith(victim)][0]
        print("KILL", name, time.time()-t, flush=True)
        os.kill(op.pid(name), 9)
    with Operator(cluster).running() as op, in_force(config(tmp_path)):
        threading.Thread(target=kill,args=(op,),daemon=True).start()
        try: run_fn(args)
        finally:
            print(strategy, victim, time.time()-t, op.started)
            print("\n".join(r.getMessage() for r in caplog.records if "training_job" in r.name)[-6000:])
